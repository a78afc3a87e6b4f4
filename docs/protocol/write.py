"""Write the JSON Schema of every message beside this file."""

import json
from pathlib import Path

from server.app import protocol_schema

if __name__ == "__main__":
    schema = protocol_schema()
    for name, content in (schema["requests"] | schema["replies"]).items():
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
