//! Children that come and go by name while their supervisor runs.

use super::*;

#[tokio::test(start_paused = true)]
async fn children_come_and_go_by_name_while_the_supervisor_runs() {
    let workers = workers(1, |_| ()).await.unwrap();
    let (children, plan) = (&workers.children, Arc::<Plan>::default());
    let (spec, added) = worker("added", &plan);
    children.start(spec).await.unwrap();
    assert_eq!(asked(&added, SECOND, Patience::Wait).await, Ok(1));
    let again = children.start(worker("added", &plan).0).await;
    assert_eq!(again, Err(AdminError::AlreadyStarted("added".into()))); // A1
    assert_eq!(children.delete("added").await, Err(AdminError::Running("added".into())));
    assert_eq!(children.restart("added").await, Err(AdminError::Running("added".into())));
    children.terminate("added").await.unwrap();
    children.terminate("added").await.unwrap();
    let again = children.start(worker("added", &plan).0).await;
    assert_eq!(again, Err(AdminError::AlreadyPresent("added".into())));
    let counts = children.snapshot().counts();
    assert_eq!((counts.specs, counts.active, counts.workers), (2, 1, 2)); // A3
    children.restart("added").await.unwrap();
    assert_eq!(asked(&added, SECOND, Patience::Wait).await, Ok(2));
    children.terminate("added").await.unwrap();
    children.delete("added").await.unwrap();
    assert_eq!(children.terminate("added").await, Err(AdminError::NotFound("added".into())));
    assert!(workers.tree.system().tree().find("root/crew/added").is_none());
    let significant = worker("bad", &plan).0.significant();
    assert!(matches!(children.start(significant).await, Err(AdminError::BadSpec(_)))); // S8
}
