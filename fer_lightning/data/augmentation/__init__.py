"""One augmentation specification and the two engines that apply it."""
