"""Texts: GLUE's tasks and a user's own, any encoder of transformers, five self-supervised objectives."""
