"""Sources of rows: arrays, frames and files, their views, splits and writers."""
