"""Arguments that the program passes itself, by the group of their constructor, and what to type instead."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig

LEAVE = "leave it out"
GIVEN: dict[str, dict[str, str]] = {
    "trainer": {
        "callbacks": "callbacks are a group of their own: type +callbacks.mine._target_=package.Class",
        "logger": "loggers are a group of their own: type logger=csv, for example",
        "enable_checkpointing": (
            "checkpoints are callbacks: type '~callbacks.best_checkpoint' '~callbacks.last_checkpoint' for none"
        ),
        "default_root_dir": "the run's folder is Hydra's: type hydra.run.dir=FOLDER",
    },
    "model": {
        "classes": "they are those of the data: type data.classes=[happy,sad], for example",
        "channels": "they are those of the data: type data.channels=3, for example",
        "image_size": "it is that of the data: type data.image_size=48, or model.input_size=48 to resize on the device",
        "mean": "it is that of the training images: type model.normalize=unit, for example",
        "std": "it is that of the training images: type model.normalize=unit, for example",
        "data_facts": f"they describe the data: {LEAVE}",
        "loss": "the loss is a group of its own: type loss=cross_entropy, for example",
        "optimizer": "the optimizer is a group of its own: type optimizer=adamw, for example",
        "scheduler": "the schedule is a group of its own: type scheduler=cosine, for example",
        "monitor": "all parts of a run watch one score: type monitor=val/acc mode=max, for example",
        "mode": "all parts of a run watch one score: type monitor=val/acc mode=max, for example",
    },
    "loss": {"class_counts": "they are those of the training images: type loss.class_weights=inverse to use them"},
    "data": {"augmentation": "augmentation is a group of its own: type augmentation=standard, for example"},
    "optimizer": {"params": f"they are those of the model: {LEAVE}"},
    "scheduler": {
        "optimizer": "the optimizer is a group of its own: type optimizer=adamw, for example",
    },
    "machine": {
        "accelerator": "type trainer.accelerator=cpu, for example",
        "precision": "type trainer.precision=32-true, for example",
        "channels_last": "type model.channels_last=true, for example",
        "num_workers": "type data.num_workers=0, for example",
        "devices": "type trainer.devices=1, for example",
        "deterministic": "type trainer.deterministic=true, for example",
        "memory": "type data.cache_dir=FOLDER for another place of all that is kept",
    },
}


def replaced(cfg: DictConfig) -> Iterator[str]:
    """Yield a line for each setting that the program would replace by a value of its own."""
    for group, given in GIVEN.items():
        node = cfg._get_node(group) if group in cfg else None
        for key in map(str, node) if isinstance(node, DictConfig) else ():
            if key in given:
                yield f"{group}.{key} is set by the program; {given[key]}"
