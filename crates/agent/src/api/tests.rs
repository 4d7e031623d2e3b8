use std::collections::BTreeSet;

use super::*;

#[test]
fn every_action_has_one_route_named_after_it() {
    let acts: Vec<_> = ROUTES
        .iter()
        .filter_map(|route| match route.does {
            Does::Act(action) => Some((route.path.to_owned(), action)),
            Does::Look(_) => None,
        })
        .collect();
    let named: BTreeSet<_> = acts.iter().map(|(_, action)| *action).collect();
    assert_eq!(named, Action::ALL.into_iter().collect());
    for (path, action) in acts {
        assert_eq!(path, format!("/v1/{}", action.as_str()));
    }
}

#[test]
fn no_path_is_served_twice() {
    let paths: BTreeSet<_> = ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(paths.len(), ROUTES.len());
}
