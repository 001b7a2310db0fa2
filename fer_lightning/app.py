"""Show a model as a local web page: `python -m fer_lightning.app ckpt_path=…/best.ckpt` (or `model=FILE.onnx`)."""

from __future__ import annotations

from typing import Any

from fer_lightning.cli.command import run_verb


def main(argv: list[str] | None = None) -> Any:
    return run_verb("app", "inference.app.serve:serve", argv)


if __name__ == "__main__":
    main()
