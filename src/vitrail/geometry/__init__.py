"""Boxes, rotated boxes, masks: conversions, overlaps."""
