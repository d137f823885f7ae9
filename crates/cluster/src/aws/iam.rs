//! The calls of IAM that clusters need: roles, their policies, instance profiles.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Aws, Failure, Once, Service, failure::absent, xml::Element};

/// A role or an instance profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) tags: BTreeMap<String, String>,
    /// Of an instance profile: the roles in it.
    pub(crate) roles: Vec<String>,
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_tags(mut parameters: Vec<(String, String)>, tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    for (number, (key, value)) in (1..).zip(tags) {
        parameters.push((format!("Tags.member.{number}.Key"), key.clone()));
        parameters.push((format!("Tags.member.{number}.Value"), value.clone()));
    }
    parameters
}

fn tags_of(element: &Element) -> BTreeMap<String, String> {
    let tag = |item: &Element| Some((item.text_at(&["Key"])?.to_owned(), item.text_at(&["Value"])?.to_owned()));
    element.items(&["Tags"]).iter().filter_map(tag).collect()
}

impl Aws {
    async fn iam(&self, action: &str, parameters: Vec<(String, String)>) -> Result<Element, Failure> {
        self.query(Service::Iam, action, &parameters, Once::No).await
    }

    /// A role; `None` if there is none.
    pub(crate) async fn role(&self, name: &str) -> Result<Option<Entity>, Failure> {
        let answer = absent(self.iam("GetRole", pairs(&[("RoleName", name)])).await)?;
        let role = answer.as_ref().and_then(|answer| answer.at(&["GetRoleResult", "Role"]));
        Ok(role.map(|role| Entity { tags: tags_of(role), roles: Vec::new() }))
    }

    /// An instance profile; `None` if there is none.
    pub(crate) async fn profile(&self, name: &str) -> Result<Option<Entity>, Failure> {
        let answer = absent(self.iam("GetInstanceProfile", pairs(&[("InstanceProfileName", name)])).await)?;
        let profile = answer.as_ref().and_then(|answer| answer.at(&["GetInstanceProfileResult", "InstanceProfile"]));
        Ok(profile.map(|profile| {
            let roles = profile.items(&["Roles"]).iter().filter_map(|role| role.text_at(&["RoleName"]));
            Entity { tags: tags_of(profile), roles: roles.map(str::to_owned).collect() }
        }))
    }

    /// Makes a role.
    pub(crate) async fn create_role(
        &self,
        name: &str,
        trust: &Value,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let document = trust.to_string();
        let parameters = pairs(&[("RoleName", name), ("AssumeRolePolicyDocument", &document)]);
        self.iam("CreateRole", with_tags(parameters, tags)).await.map(drop)
    }

    /// Gives a role its own policy, or replaces it.
    pub(crate) async fn put_role_policy(&self, role: &str, policy: &str, document: &Value) -> Result<(), Failure> {
        let document = document.to_string();
        let parameters = pairs(&[("RoleName", role), ("PolicyName", policy), ("PolicyDocument", &document)]);
        self.iam("PutRolePolicy", parameters).await.map(drop)
    }

    /// Attaches a policy of AWS to a role; once more does nothing.
    pub(crate) async fn attach_role_policy(&self, role: &str, arn: &str) -> Result<(), Failure> {
        self.iam("AttachRolePolicy", pairs(&[("RoleName", role), ("PolicyArn", arn)])).await.map(drop)
    }

    /// Makes an instance profile.
    pub(crate) async fn create_profile(&self, name: &str, tags: &BTreeMap<String, String>) -> Result<(), Failure> {
        let parameters = pairs(&[("InstanceProfileName", name)]);
        self.iam("CreateInstanceProfile", with_tags(parameters, tags)).await.map(drop)
    }

    /// Puts a role into an instance profile.
    pub(crate) async fn add_role_to_profile(&self, profile: &str, role: &str) -> Result<(), Failure> {
        let parameters = pairs(&[("InstanceProfileName", profile), ("RoleName", role)]);
        self.iam("AddRoleToInstanceProfile", parameters).await.map(drop)
    }

    /// Deletes an instance profile and takes its roles out, if it is there.
    pub(crate) async fn delete_profile(&self, name: &str, roles: &[String]) -> Result<(), Failure> {
        for role in roles {
            let parameters = pairs(&[("InstanceProfileName", name), ("RoleName", role)]);
            absent(self.iam("RemoveRoleFromInstanceProfile", parameters).await)?;
        }
        absent(self.iam("DeleteInstanceProfile", pairs(&[("InstanceProfileName", name)])).await).map(drop)
    }

    /// Deletes a role with everything that hangs on it, if it is there.
    pub(crate) async fn delete_role(&self, name: &str) -> Result<(), Failure> {
        let role = || pairs(&[("RoleName", name)]);
        let Some(attached) = absent(self.iam("ListAttachedRolePolicies", role()).await)? else { return Ok(()) };
        for policy in attached.items(&["ListAttachedRolePoliciesResult", "AttachedPolicies"]) {
            let arn = policy.text_at(&["PolicyArn"]).unwrap_or_default();
            absent(self.iam("DetachRolePolicy", pairs(&[("RoleName", name), ("PolicyArn", arn)])).await)?;
        }
        let own = self.iam("ListRolePolicies", role()).await?;
        for policy in own.items(&["ListRolePoliciesResult", "PolicyNames"]) {
            absent(self.iam("DeleteRolePolicy", pairs(&[("RoleName", name), ("PolicyName", &policy.text)])).await)?;
        }
        absent(self.iam("DeleteRole", role()).await).map(drop)
    }
}
