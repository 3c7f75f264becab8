"""Evaluation of models and recordings: metrics under named protocols, a baseline beside them, and an HTML report."""
