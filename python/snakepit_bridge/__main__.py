"""The bundled worker: python3 -P -m snakepit_bridge --transport stdio|grpc.

Without -P, Python would import modules from the working folder first, whatever they are.
"""

from .commands import worker

if __name__ == "__main__":
    worker.main()
