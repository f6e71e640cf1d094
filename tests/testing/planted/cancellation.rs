//! Operations that are cancelled when part of them is done.

use std::io::Write;
use std::pin::pin;

use polyselect::{EventLoop, asyncio, asyncio::Async};

use super::{MS, Trial};

pub(super) fn loses_bytes_of_a_cancelled_read(trial: &Trial<'_>) {
    const RECORDS: u8 = 20;

    let (conn, mut peer) = trial.pair();
    let conn = Async::new(conn).unwrap();
    let is_right = trial.is_right;
    let work = async {
        let sender = asyncio::spawn(async move {
            for number in 0..RECORDS {
                asyncio::sleep(13 * MS).await;
                peer.write_all(&[number; 32]).unwrap();
            }
        });
        for number in 0..RECORDS {
            let mut record = [0; 32];
            // A heartbeat is sent after every 5 ms without data.
            let result = if is_right {
                let mut read = pin!(conn.read_exact(&mut record));
                loop {
                    if let Ok(result) = asyncio::timeout(5 * MS, read.as_mut()).await {
                        break result;
                    }
                }
            } else {
                loop {
                    let read = conn.read_exact(&mut record);
                    if let Ok(result) = asyncio::timeout(5 * MS, read).await {
                        break result;
                    }
                }
            };
            result.expect("the rest of a record");
            assert_eq!(record, [number; 32], "a record of pieces");
        }
        sender.await.unwrap();
    };
    EventLoop::new(()).unwrap().block_on(work).unwrap();
}
