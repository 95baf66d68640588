"""Certificates of ONNX files: the schema, the file on disk and the page rendered from it.

Nothing is imported here: the verifier uses `harden.certificate.canonical_json` where pydantic is missing.
"""
