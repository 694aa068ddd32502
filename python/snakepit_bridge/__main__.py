"""The bundled worker: python3 -P -m snakepit_bridge --transport stdio|grpc.

Without -P, Python looks for modules in the working folder first, whatever lies there.
"""

from .commands import worker

if __name__ == "__main__":
    worker.main()
