"""The commands as Python functions; `import planish` offers them by name."""
