"""Desired against observed: the one generic difference, its order, and who keeps track of both."""
