//! A cluster: its spec, and the way to AWS.

use lakewright_error::{Error, ErrorKind, Result};

use crate::{aws::Aws, inventory::Inventory, spec::ClusterSpec};

/// Where words about the progress go, one line at a time.
pub type Report<'a> = &'a (dyn Fn(&str) + Sync);

/// A cluster, whether it is there or not.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) spec: ClusterSpec,
    pub(crate) aws: Aws,
}

/// What the account and the subnet tell.
#[derive(Clone, Debug)]
pub(crate) struct AccountPlace {
    pub(crate) account: String,
    pub(crate) vpc: String,
}

impl Cluster {
    /// Joins a spec with a way to AWS.
    pub fn new(spec: ClusterSpec, aws: Aws) -> Self {
        Self { spec, aws }
    }

    /// What it is to be.
    pub fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    /// Looks up what of it is there.
    ///
    /// # Errors
    /// What AWS refuses.
    pub async fn inventory(&self) -> Result<Inventory> {
        Inventory::take(&self.aws, &self.spec).await
    }

    /// Whose credentials these are, and which network the subnet is in.
    pub(crate) async fn place(&self) -> Result<AccountPlace> {
        let account = self.aws.account().await?;
        let vpc = self.aws.vpc_of(&self.spec.subnet).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such subnet in this account and region")
                .with("subnet", &self.spec.subnet)
                .with("region", &self.spec.region)
                .with("account", &account)
                .with_hint("`aws ec2 describe-subnets` lists them; `subnet` in the cluster's file names one")
        })?;
        Ok(AccountPlace { account, vpc })
    }

    /// The living cluster's id.
    pub(crate) async fn living(&self) -> Result<String> {
        let (cluster, _) = crate::inventory::living_cluster(&self.aws, &self.spec).await?;
        cluster.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the cluster is not there")
                .with("cluster", &self.spec.name)
                .with("region", &self.spec.region)
                .with_hint("`lakewright cluster create` makes it")
        })
    }
}
