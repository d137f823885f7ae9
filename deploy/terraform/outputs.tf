output "cluster_id" {
  description = "EMR's id of the cluster."
  value       = aws_emr_cluster.this.id
}

output "scheduler" {
  description = "The scheduler's address, for LAKEWRIGHT_SCHEDULER."
  value       = "https://${aws_emr_cluster.this.master_public_dns}:50040"
}

output "authority" {
  description = "Where the scheduler writes the certificate of its authority, for LAKEWRIGHT_CA."
  value       = "s3://${local.folder.bucket}/${local.folder.prefix}/client/ca.pem"
}

output "node_folder" {
  description = "What nodes are made of."
  value       = local.node_folder
}

output "sha256" {
  description = "Checksum of SHA256SUMS, and with it of everything that nodes get."
  value       = local.sums_sha256
}
