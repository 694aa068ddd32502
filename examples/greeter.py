from snakepit_bridge import Worker

worker = Worker("greeter")

@worker.command("greet")
def greet(name="world"):
    return {"greeting": f"Hello, {name}!"}

if __name__ == "__main__":
    worker.main()
