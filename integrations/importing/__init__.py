"""Imports appointments from CSV and Excel files: reads a file, checks it, and saves all of it or nothing."""
