"""The commands: thin functions over the stages, a module for each part of the work."""
