"""Who trains the planned runs: claims, failures, and the engines that start workers."""
