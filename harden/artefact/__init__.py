"""The exported folder: a parity-checked ONNX file, its certificate, its evidence and its page.

Import from the modules: `artefact` needs no torch, the others do.
"""
