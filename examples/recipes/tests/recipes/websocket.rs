//! `websocket_chat`: node, and Python with a handshake by hand.

use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use polyselect::Backend;

use crate::Case;
use crate::support::{Program, output_of, python, skip};

pub const CASES: &[Case] = &[
    ("websocket_chat_lets_clients_of_node_talk", "node", node_talks),
    ("websocket_chat_lets_clients_of_python_talk", "python3", python_talks),
];

fn start(backend: Backend) -> (Program, String) {
    let chat = Program::recipe(env!("CARGO_BIN_EXE_websocket_chat"), backend, &["127.0.0.1:0"]);
    let port = chat.address().port().to_string();
    (chat, port)
}

/// Each of five clients sends a word when all are connected, and receives the words of the others.
const NODE: &str = r"
const clients = [...Array(5).keys()].map(() => new WebSocket(`ws://127.0.0.1:${process.argv[1]}`));
const opened = clients.map((client) => new Promise((resolve) => { client.onopen = resolve; }));
const heard = clients.map((client) => new Promise((resolve, reject) => {
    const texts = [];
    client.onerror = reject;
    client.onmessage = ({ data }) => { if (texts.push(data) === 4) resolve(texts.sort().join()); };
}));
Promise.all(opened).then(() => new Promise((resolve) => setTimeout(resolve, 100)))
    .then(() => clients.forEach((client, index) => client.send(`from ${index}`)))
    .then(() => Promise.all(heard))
    .then((heard) => { console.log(heard.join('\n')); clients.forEach((client) => client.close()); });
";

fn node_talks(backend: Backend) -> Result<(), Failed> {
    // Without this option before version 22.
    let mut node = Command::new("node");
    node.args([
        "--experimental-websocket",
        "-e",
        "new WebSocket('ws://127.0.0.1:1').onerror = () => {}",
    ]);
    if !node.stderr(Stdio::null()).status()?.success() {
        skip("this node has no WebSocket");
        return Ok(());
    }
    let (_chat, port) = start(backend);
    let mut node = Command::new("node");
    let output = output_of(node.args(["--experimental-websocket", "-e", NODE, &port]))?;
    let expected = (0..5).map(|own| {
        let others = (0..5).filter(|&index| index != own).map(|index| format!("from {index}"));
        others.collect::<Vec<_>>().join(",") + "\n"
    });
    assert_eq!(output, expected.collect::<String>());
    Ok(())
}

/// The protocol by hand: masked frames, a ping, a fragmented message and the closing handshake.
const PYTHON: &str = r"
import base64, hashlib, os, socket, struct, sys
def connect():
    s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=50)
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(('GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        f'Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n').encode())
    f = s.makefile('rb')
    assert b'101' in f.readline()
    accept = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest())
    heads = list(iter(f.readline, b'\r\n'))
    assert any(head.lower().startswith(b'sec-websocket-accept: ' + accept.lower()) for head in heads)
    return s, f
def send(s, first, data):
    mask = os.urandom(4)
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b'\xfe' + struct.pack('>H', len(data))
    s.sendall(bytes([first]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
def receive(f):
    first, length = f.read(2)
    if length == 126: length, = struct.unpack('>H', f.read(2))
    return first, f.read(length)
(a, fa), (b, fb) = connect(), connect()
# The answer to a ping says that the client is in the room.
for s, f in ((a, fa), (b, fb)):
    send(s, 0x89, b'there?')
    assert receive(f) == (0x8a, b'there?')
send(a, 0x81, b'hello')
assert receive(fb) == (0x81, b'hello')
send(b, 0x01, b'in two ')
send(b, 0x80, b'parts' * 1000)
assert receive(fa) == (0x81, b'in two ' + b'parts' * 1000)
send(a, 0x88, struct.pack('>H', 1000))
assert receive(fa)[0] == 0x88 and fa.read() == b''
send(b, 0x82, b'for an empty room')
send(b, 0x81, b'x' * 65000 + b'y' * 535)
send(b, 0x01, b'x' * 65000)
send(b, 0x80, b'y' * 1000)
# Above the limit the server ends the connection.
try: fb.read()
except ConnectionResetError: pass
print('ok')
";

fn python_talks(backend: Backend) -> Result<(), Failed> {
    let (_chat, port) = start(backend);
    assert_eq!(python(PYTHON, &[port])?, "ok\n");
    Ok(())
}
