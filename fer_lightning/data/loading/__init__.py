"""Batches: samplers, loaders, and images kept on the device."""
