"""What a network learns from trained networks: their logits, on the fly or stored, and the losses that use them."""
