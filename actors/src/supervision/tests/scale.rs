//! Many children: what one of them costs does not grow with the others, and nothing of them is left.

use std::time::Instant;

use super::*;

const FEW: usize = 300;
const MANY: usize = 20 * FEW;
/// How much more a child may cost among many: as much, if it costs the same, and 20 times as much, if it costs as
/// much as it has siblings.
const RATIO: u32 = 4;

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn now() -> Instant {
    Instant::now()
}

/// What it takes to start so many children, to bring half of them to their end, and to shut down with the rest.
async fn cost(children: usize) -> [Duration; 3] {
    let workers = workers(0, |_| ()).await.unwrap();
    settle().await;
    let (rows, tasks) = (workers.commons().health.rows().len(), workers.commons().tasks.len());
    let (plan, mut handles) = (Arc::default(), Vec::new());
    let began = now();
    for n in 0..children {
        let (spec, handle) = worker(&n.to_string(), &plan);
        let restart = if n.is_multiple_of(2) { Restart::Permanent } else { Restart::Temporary };
        workers.children.start(spec.restart(restart)).await.unwrap();
        handles.push(handle);
    }
    let started = began.elapsed();
    let began = now();
    for (n, handle) in handles.iter().enumerate().take(children / 2) {
        if n.is_multiple_of(2) {
            workers.children.terminate(&n.to_string()).await.unwrap();
            workers.children.delete(&n.to_string()).await.unwrap();
        } else {
            handle.tell(Order::Stop).unwrap();
        }
    }
    settle().await;
    let ended = began.elapsed();
    assert_eq!(workers.children.snapshot().counts().active, children / 2);
    assert_eq!(workers.children.snapshot().counts().specs, children / 2); // T6
    assert_eq!(workers.commons().health.rows().len(), rows + children / 2);
    assert_eq!(workers.commons().tasks.len(), tasks + children / 2);
    let began = now();
    workers.shut_down().await;
    [started, ended, began.elapsed()]
}

#[tokio::test(start_paused = true)]
async fn what_a_child_costs_does_not_grow_with_the_number_of_its_siblings() {
    let (mut few, many) = ([Duration::ZERO; 3], cost(MANY).await);
    for _ in 0..MANY / FEW {
        few.iter_mut().zip(cost(FEW).await).for_each(|(sum, one)| *sum += one);
    }
    let grows = few.iter().zip(&many).any(|(few, many)| *many > *few * RATIO);
    assert!(!grows, "start, end and shutdown among {FEW} took {few:?}, among {MANY} {many:?}"); // A4
}
