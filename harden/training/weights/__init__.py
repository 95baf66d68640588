"""The weights of a stage: their update, their moving average, and the choice among them."""
