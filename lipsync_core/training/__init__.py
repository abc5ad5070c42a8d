"""Recipes for every weight that ships."""
