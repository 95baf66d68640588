"""Fast adversarial training: objectives that attack by one gradient of the image for each step."""
