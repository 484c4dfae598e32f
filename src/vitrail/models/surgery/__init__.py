"""Surgeries: functions that replace something inside a model, which still saves, loads, trains and generates."""
