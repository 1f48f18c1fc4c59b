"""A request to copy: the line that asks a model from a shell."""

REQUEST = '{"instances": [{"image_bytes": {"b64": "%s"}, "text": "%s"}]}'


def make_curl(name: str, port: int, host: str = "localhost") -> str:
    """Returns three lines of shell that ask the default signature over REST.

    Args:
        name: of the model; see `versions.check_name`.
        port: of REST.
        host: name or address; that of IPv6 in brackets.
    """
    return f"""\
printf '{REQUEST}' \\
  "$(base64 -w0 IMAGE.jpg)" "THE TEXT BESIDE IT" |
  curl --data @- http://{host}:{port}/v1/models/{name}:predict"""
