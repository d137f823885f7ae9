//! Lists a large prefix with several requests at once.
//!
//! A listing comes in pages, and each names the next: many pages are as many waits, one after the other. So when a prefix
//! has more than one page, and few folders, the folders are listed side by side.
//!
//! Invariant: gives what one listing gives, in any order, and asks for few pages more than that.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, path::Path};

/// Objects of a page.
const PAGE_OBJECTS: usize = 1000;
/// Folders up to which each is worth a request of its own, of a prefix that has more than a page.
const FOLDERS_MAX: usize = 32;
/// Folders that only lead to one another.
const DESCENTS_MAX: usize = 8;
/// Listings in flight.
const LISTINGS_MAX: usize = 16;

/// All objects below a prefix.
pub(super) async fn list_all(store: &dyn ObjectStore, prefix: Option<&Path>) -> Result<Vec<ObjectMeta>, StoreError> {
    let mut pages = store.list(prefix);
    let mut objects = Vec::new();
    while objects.len() < PAGE_OBJECTS {
        match pages.try_next().await? {
            Some(object) => objects.push(object),
            None => return Ok(objects),
        }
    }
    let Some((beside, folders)) = folders_of(store, prefix).await? else {
        objects.extend(pages.try_collect::<Vec<_>>().await?);
        return Ok(objects);
    };
    let listings = folders.iter().map(|folder| store.list(Some(folder)).try_collect::<Vec<_>>());
    let listed: Vec<Vec<ObjectMeta>> = stream::iter(listings).buffered(LISTINGS_MAX).try_collect().await?;
    Ok(beside.into_iter().chain(listed.into_iter().flatten()).collect())
}

/// The folders below a prefix and the objects beside them; `None` if there are too many or too few to list each.
async fn folders_of(
    store: &dyn ObjectStore,
    prefix: Option<&Path>,
) -> Result<Option<(Vec<ObjectMeta>, Vec<Path>)>, StoreError> {
    let mut at = prefix.cloned();
    for _ in 0..DESCENTS_MAX {
        let listing = store.list_with_delimiter(at.as_ref()).await?;
        match listing.common_prefixes.as_slice() {
            [only] if listing.objects.is_empty() => at = Some(only.clone()),
            folders if (2..=FOLDERS_MAX).contains(&folders.len()) => {
                return Ok(Some((listing.objects, listing.common_prefixes)));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}
