"""Finds faces in pictures; one detector a file, all behind `detector.FaceDetector`."""
