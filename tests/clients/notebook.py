#!/usr/bin/env python3
"""Real notebooks on real kernels, told to Fanfare the way their users' programs tell it.

    python notebook.py kernel http://127.0.0.1:8000     runs a notebook with nbclient; posts what the cell monitor posts
    python notebook.py lab http://127.0.0.1:8000        JupyterLab with jupyterlab-pioneer in headless Chromium

Prints `ran` when everything has been executed, and ends when its standard input does.
"""

import asyncio
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CELLS = [
    new_markdown_cell("# 課題 1"),
    new_code_cell("x = 6 * 7\nx"),
    new_code_cell("print('hello')"),
    new_code_cell("import time; time.sleep(0.3)\n'slow'"),
    new_code_cell("1/0"),
]


def notebook():
    return new_notebook(cells=CELLS, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


class Monitor:
    """The extension: one event a request, out of order, each again after an error of the server."""

    def __init__(self, url):
        self.url, self.session, self.sending = f"{url}/api/v1/events", str(uuid.uuid4()), []

    def tell(self, kind, **fields):
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
        event = {
            "eventId": str(uuid.uuid4()), "eventType": kind, "eventTime": stamp, "emailAddress": "a1@example.com",
            "teamName": "チームB", "userName": "学生1", "sessionId": self.session, "notebookPath": "demo.ipynb", **fields,
        }
        self.sending.append(asyncio.create_task(self.send(event)))

    async def send(self, event):
        await asyncio.sleep(random.uniform(0.2, 0.9))
        body = json.dumps([event]).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/plain, */*"}
        for pause in (0.5, 1, 2, 0):
            request = urllib.request.Request(self.url, body, headers, method="POST")
            try:
                await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=8).read())
                return
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    return
            except OSError:
                pass
            await asyncio.sleep(pause)


def result_of(cell):
    """What the extension calls the result: text of values and errors, never what was printed."""
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            text = f"{output.ename}: {output.evalue}"
            return text, {"errorMessage": text}
        if output.output_type in ("execute_result", "display_data"):
            return output.data.get("text/plain", ""), {}
    return "", {}


async def kernel(url):
    from nbclient import NotebookClient

    monitor = Monitor(url)

    def executed(cell, cell_index, **_):
        result, error = result_of(cell)
        count = {"executionCount": cell.execution_count} if cell.cell_type == "code" else {}
        monitor.tell(
            "cell_executed", cellId=cell.id, cellIndex=cell_index, cellType=cell.cell_type, code=cell.source, **count,
            hasError=bool(error), **error, result=result, executionDurationMs=random.randint(2, 3),
        )

    def begun(cell, cell_index):
        if cell.cell_type != "code":
            executed(cell, cell_index)

    def ended(cell, cell_index, execute_reply):
        executed(cell, cell_index)

    monitor.tell("notebook_opened")
    book = notebook()
    client = NotebookClient(book, timeout=60, allow_errors=True, on_cell_start=begun, on_cell_executed=ended)
    await client.async_execute()
    monitor.tell("help")
    monitor.tell("help_stop")
    await asyncio.gather(*monitor.sending)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


async def until(what, probe, within=60):
    deadline = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(0.1)


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read()
    except OSError:
        return None


CONFIG = """
c.JupyterLabPioneerApp.exporters = [{"type": "remote_exporter", "args": {"id": "ws",
    "url": "URL/api/v1/events/pioneer", "params": {"classroom": "A"}, "env": ["STUDENT_ID"]}}]
c.JupyterLabPioneerApp.activeEvents = [{"name": "CellExecuteEvent", "logWholeNotebook": False},
    {"name": "NotebookSaveEvent", "logWholeNotebook": False}]
"""

RUN = """(async () => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = await app.commands.execute('docmanager:open', { path: 'demo.ipynb' });
  await panel.context.ready;
  await panel.sessionContext.ready;
  // What listens to executions is told of the notebook a moment after it is there.
  await new Promise((done) => setTimeout(done, 1000));
  await app.commands.execute('notebook:run-all-cells');
  const cells = () => panel.content.widgets.filter((one) => one.model.type === 'code');
  while (!cells().every((one) => one.model.executionCount)) await new Promise((done) => setTimeout(done, 50));
  return cells().length;
})()"""


async def evaluate(port, script):
    """One expression in the browser's page; answers its value."""
    import websockets

    pages = json.loads(await until("a page", lambda: get(f"http://127.0.0.1:{port}/json/list")))
    page = next(page for page in pages if page["type"] == "page")
    async with websockets.connect(page["webSocketDebuggerUrl"], max_size=None) as devtools:
        wish = {"expression": script, "awaitPromise": True, "returnByValue": True}
        await devtools.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": wish}))
        async for message in devtools:
            answer = json.loads(message)
            if answer.get("id") == 1:
                if "exceptionDetails" in answer.get("result", {}) or "error" in answer:
                    raise RuntimeError(answer)
                return answer["result"]["result"].get("value")


async def lab(url):
    with tempfile.TemporaryDirectory(prefix="ff-lab-") as folder:
        home = pathlib.Path(folder)
        for name in ("config", "data", "runtime", "work", "browser"):
            (home / name).mkdir()
        (home / "config/jupyter_jupyterlab_pioneer_config.py").write_text(CONFIG.replace("URL", url))
        nbformat.write(notebook(), home / "work/demo.ipynb")
        env = {
            **os.environ, "HOME": folder, "STUDENT_ID": "s-42", "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "NO_PROXY": "*", "no_proxy": "*",
        }
        port, token, programs = free_port(), uuid.uuid4().hex, []
        log = open(home / "log", "w+")
        try:
            programs.append(subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
                 "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True",
                 "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={home / 'work'}",
                 "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
                env=env, stdout=log, stderr=log, cwd=home / "work"))
            at = f"http://127.0.0.1:{port}"
            await until("JupyterLab", lambda: get(f"{at}/api?token={token}"))
            programs.append(subprocess.Popen(
                ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                 "--no-proxy-server", "--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={home / 'browser'}",
                 f"{at}/lab?token={token}&reset"], env=env, stdout=log, stderr=log))
            told = home / "browser/DevToolsActivePort"
            debugging = int((await until("Chromium", lambda: told.exists() and told.read_text().strip())).split()[0])
            for _ in range(600):
                try:
                    if await evaluate(debugging, "!!(window.jupyterapp && window.jupyterapp.shell)"):
                        break
                except (RuntimeError, OSError, StopIteration):
                    pass
                await asyncio.sleep(0.1)
            print("cells:", await asyncio.wait_for(evaluate(debugging, RUN), 60), file=sys.stderr)
            await ended()
        except Exception:
            log.flush()
            print((home / "log").read_text()[-6000:], file=sys.stderr)
            raise
        finally:
            for program in reversed(programs):
                program.terminate()
            for program in programs:
                try:
                    program.wait(5)
                except subprocess.TimeoutExpired:
                    program.kill()
                    program.wait()


async def ended():
    print("ran", flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def main():
    mode, url = sys.argv[1:3]
    if mode == "kernel":
        await kernel(url)
        await ended()
    else:
        await lab(url)


asyncio.run(main())
