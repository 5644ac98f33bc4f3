"""Handlers for `logging` with which many processes write safely to one rotating log file.

    from concurrent_log_handler import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler

Both are published in `logging.handlers` as well, for `fileConfig`.
"""

import logging.handlers

from concurrent_log_handler.handlers import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler

__version__ = "1.0.0.dev0"
__all__ = ["ConcurrentRotatingFileHandler", "ConcurrentTimedRotatingFileHandler", "__version__"]

logging.handlers.ConcurrentRotatingFileHandler = ConcurrentRotatingFileHandler  # type: ignore[attr-defined]
logging.handlers.ConcurrentTimedRotatingFileHandler = ConcurrentTimedRotatingFileHandler  # type: ignore[attr-defined]
