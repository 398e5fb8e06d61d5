"""Opening ONNX models for the CPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime


def open_model(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session on `threads` threads that sleep, not spin, between calls. Raises onnxruntime's error for a bad file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A spinning pool takes a core from the engine at work for as long as nothing is asked of it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
