"""The Kubernetes API as this program uses it: single objects, read, created and patched by one identity.

The SDK (lightkube) is imported when the first target of this kind is looked at.
"""
