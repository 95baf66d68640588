"""What is claimed about one ONNX file: the schema, the file on disk and the page drawn from it.

Nothing is imported here: the verifier uses `harden.certificate.canonical_json` where pydantic is missing.
"""
