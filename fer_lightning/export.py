"""Export a checkpoint: `python -m fer_lightning.export ckpt_path=…/best.ckpt output=model.onnx` (ONNX, torch, timm)."""

from __future__ import annotations

from typing import Any

from fer_lightning.cli.command import run_verb


def main(argv: list[str] | None = None) -> Any:
    return run_verb("export", "inference.export.export:export", argv)


if __name__ == "__main__":
    main()
