"""Language models behind the `ChatModel` contract."""
