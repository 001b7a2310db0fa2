"""Uses a trained model: finds faces, recognises their expressions, exports, explains, shows."""
