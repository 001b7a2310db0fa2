"""Under which names files of weights and of logits say which images they were made from."""

SEEN_IN = "images_seen_in_{}"  # `train`: trained on; `validation`: chosen by
