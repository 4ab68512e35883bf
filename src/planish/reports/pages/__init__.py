"""The sections of a page: which numbers, figures and sentences they show."""
