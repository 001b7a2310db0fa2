"""Expressions in videos: frames with their times, faces followed and smoothed, a copy with boxes, a plot over time."""
