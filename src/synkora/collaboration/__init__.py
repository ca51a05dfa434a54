"""Synkora itself: who may come in, which projects they are in, who sees whom, and what is passed on to whom."""
