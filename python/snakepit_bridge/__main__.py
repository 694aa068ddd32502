"""The bundled worker: python3 -m snakepit_bridge --transport stdio|grpc."""

from .commands import worker

if __name__ == "__main__":
    worker.main()
