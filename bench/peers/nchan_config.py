"""The nginx configuration that a peer run of nchan gets: pure text, so that a reader can check it for fairness."""

from __future__ import annotations

from pathlib import Path

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
"""Where Debian's package ``libnginx-mod-nchan`` puts it."""

_CONFIG = """\
load_module {module};
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr warn;

events {{
    worker_connections {files};
    multi_accept on;
}}

http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 2048m;
    nchan_message_buffer_length {kept};
    nchan_message_timeout 1h;
{redis}
    server {{
        listen 127.0.0.1:{port} backlog=16384;

        location ~ ^/publish/(\\w+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
        }}

        location ~ ^/subscribe/(\\w+)$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message oldest;
        }}

        location = /status {{
            nchan_stub_status;
        }}
    }}
}}
"""


def config(port: int, folder: Path, *, redis_url: str | None = None, kept: int = 200_000, files: int = 40_000) -> str:
    """The whole file.

    Args:
        port: where it listens, on the loopback.
        folder: its own directory, for what nginx insists on writing.
        redis_url: the shared store; ``None`` = messages stay in the memory of this one nginx.
        kept: messages a channel keeps for readers that come back; more than any run publishes.
        files: connections and descriptors.

    There is no access log and no proxying, the worker count is one because every system here gets one core, and
    nothing else of nginx's or nchan's defaults is touched.
    """
    redis = "" if redis_url is None else f"    nchan_use_redis on;\n    nchan_redis_url {redis_url};\n"
    return _CONFIG.format(module=MODULE, files=files, folder=folder, port=port, kept=kept, redis=redis)
