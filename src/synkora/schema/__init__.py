"""Generates TypeScript declarations and AsyncAPI documents from an application's events."""
