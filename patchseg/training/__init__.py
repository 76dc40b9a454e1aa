"""From patches to checkpoints: batches, augmentation, losses, schedules and the loop."""
