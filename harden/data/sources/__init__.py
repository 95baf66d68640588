"""Sources of batches: loaders, streams, images in memory."""
