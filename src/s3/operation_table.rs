//! The operations of S3, one row each: what selects it, what it may carry, and which handler of MinIO it reaches.
//! The rows follow AWS's service model, in the order of the alphabet.

use crate::model::HeaderName;
use crate::s3::operation::{Level, Method, Operation, OperationRow, SseHeader};

/// `number CONST "name" Method Level [query keys] versioned? [headers] x-id? [SSE headers] "MinIO's handler";`
macro_rules! operations {
    ($($number:literal $word:ident $name:literal $method:ident $level:ident [$($key:literal)*] $versioned:ident
        [$($header:ident)*] $x_id:ident [$($sse:ident)*] $handler:literal;)*) => {
        impl Operation {
            $(#[doc = concat!("`", $name, "`")] pub const $word: Self = Self::from_index($number - 1);)*
        }

        /// The 112 operations of AWS's S3 model, by number.
        pub static OPERATIONS: &[OperationRow] = &ROWS;

        pub(super) const ROWS: [OperationRow; 112] = [
            $(OperationRow {
                number: $number,
                operation: $name,
                method: Method::$method,
                level: Level::$level,
                query_keys: &[$($key,)*],
                takes_version_id: $versioned,
                headers: &[$(HeaderName::$header,)*],
                sends_x_id: $x_id,
                sse_headers: &[$(SseHeader::$sse,)*],
                minio_handler: $handler,
            },)*
        ];
    };
}

operations! {
    1 ABORT_MULTIPART_UPLOAD "AbortMultipartUpload" Delete Object ["uploadId"] false [] true [] "AbortMultipartUpload";
    2 COMPLETE_MULTIPART_UPLOAD "CompleteMultipartUpload" Post Object ["uploadId"] false [] false [Customer] "CompleteMultipartUpload";
    3 COPY_OBJECT "CopyObject" Put Object [] false [XAmzCopySource] true [BucketKeyEnabled Customer CopySourceCustomer KmsKeyId Algorithm Context] "CopyObject";
    4 CREATE_BUCKET "CreateBucket" Put Bucket [] false [] false [] "PutBucket";
    5 CREATE_BUCKET_METADATA_CONFIGURATION "CreateBucketMetadataConfiguration" Post Bucket ["metadataConfiguration"] false [] false [] "none";
    6 CREATE_BUCKET_METADATA_TABLE_CONFIGURATION "CreateBucketMetadataTableConfiguration" Post Bucket ["metadataTable"] false [] false [] "none";
    7 CREATE_MULTIPART_UPLOAD "CreateMultipartUpload" Post Object ["uploads"] false [] false [BucketKeyEnabled Customer KmsKeyId Algorithm Context] "NewMultipartUpload";
    8 CREATE_SESSION "CreateSession" Get Bucket ["session"] false [] false [BucketKeyEnabled KmsKeyId Algorithm Context] "ListObjectsV1";
    9 DELETE_BUCKET "DeleteBucket" Delete Bucket [] false [] false [] "DeleteBucket";
    10 DELETE_BUCKET_ANALYTICS_CONFIGURATION "DeleteBucketAnalyticsConfiguration" Delete Bucket ["analytics" "id"] false [] false [] "DeleteBucket";
    11 DELETE_BUCKET_CORS "DeleteBucketCors" Delete Bucket ["cors"] false [] false [] "DeleteBucketCors";
    12 DELETE_BUCKET_ENCRYPTION "DeleteBucketEncryption" Delete Bucket ["encryption"] false [] false [] "DeleteBucketEncryption";
    13 DELETE_BUCKET_INTELLIGENT_TIERING_CONFIGURATION "DeleteBucketIntelligentTieringConfiguration" Delete Bucket ["intelligent-tiering" "id"] false [] false [] "DeleteBucket";
    14 DELETE_BUCKET_INVENTORY_CONFIGURATION "DeleteBucketInventoryConfiguration" Delete Bucket ["inventory" "id"] false [] false [] "DeleteBucket";
    15 DELETE_BUCKET_LIFECYCLE "DeleteBucketLifecycle" Delete Bucket ["lifecycle"] false [] false [] "DeleteBucketLifecycle";
    16 DELETE_BUCKET_METADATA_CONFIGURATION "DeleteBucketMetadataConfiguration" Delete Bucket ["metadataConfiguration"] false [] false [] "DeleteBucket";
    17 DELETE_BUCKET_METADATA_TABLE_CONFIGURATION "DeleteBucketMetadataTableConfiguration" Delete Bucket ["metadataTable"] false [] false [] "DeleteBucket";
    18 DELETE_BUCKET_METRICS_CONFIGURATION "DeleteBucketMetricsConfiguration" Delete Bucket ["metrics" "id"] false [] false [] "DeleteBucket";
    19 DELETE_BUCKET_OWNERSHIP_CONTROLS "DeleteBucketOwnershipControls" Delete Bucket ["ownershipControls"] false [] false [] "DeleteBucket";
    20 DELETE_BUCKET_POLICY "DeleteBucketPolicy" Delete Bucket ["policy"] false [] false [] "DeleteBucketPolicy";
    21 DELETE_BUCKET_REPLICATION "DeleteBucketReplication" Delete Bucket ["replication"] false [] false [] "DeleteBucketReplicationConfig";
    22 DELETE_BUCKET_TAGGING "DeleteBucketTagging" Delete Bucket ["tagging"] false [] false [] "DeleteBucketTagging";
    23 DELETE_BUCKET_WEBSITE "DeleteBucketWebsite" Delete Bucket ["website"] false [] false [] "DeleteBucketWebsite";
    24 DELETE_OBJECT "DeleteObject" Delete Object [] true [] true [] "DeleteObject";
    25 DELETE_OBJECT_ANNOTATION "DeleteObjectAnnotation" Delete Object ["annotation" "annotationName"] true [] false [] "DeleteObject";
    26 DELETE_OBJECT_TAGGING "DeleteObjectTagging" Delete Object ["tagging"] true [] false [] "DeleteObjectTagging";
    27 DELETE_OBJECTS "DeleteObjects" Post Bucket ["delete"] false [] false [] "DeleteMultipleObjects";
    28 DELETE_PUBLIC_ACCESS_BLOCK "DeletePublicAccessBlock" Delete Bucket ["publicAccessBlock"] false [] false [] "DeleteBucket";
    29 GET_BUCKET_ABAC "GetBucketAbac" Get Bucket ["abac"] false [] false [] "ListObjectsV1";
    30 GET_BUCKET_ACCELERATE_CONFIGURATION "GetBucketAccelerateConfiguration" Get Bucket ["accelerate"] false [] false [] "GetBucketAccelerate";
    31 GET_BUCKET_ACL "GetBucketAcl" Get Bucket ["acl"] false [] false [] "GetBucketACL";
    32 GET_BUCKET_ANALYTICS_CONFIGURATION "GetBucketAnalyticsConfiguration" Get Bucket ["analytics" "id"] false [] true [] "501:analytics";
    33 GET_BUCKET_CORS "GetBucketCors" Get Bucket ["cors"] false [] false [] "GetBucketCors";
    34 GET_BUCKET_ENCRYPTION "GetBucketEncryption" Get Bucket ["encryption"] false [] false [] "GetBucketEncryption";
    35 GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION "GetBucketIntelligentTieringConfiguration" Get Bucket ["intelligent-tiering" "id"] false [] true [] "501:intelligent-tiering";
    36 GET_BUCKET_INVENTORY_CONFIGURATION "GetBucketInventoryConfiguration" Get Bucket ["inventory" "id"] false [] true [] "501:inventory";
    37 GET_BUCKET_LIFECYCLE_CONFIGURATION "GetBucketLifecycleConfiguration" Get Bucket ["lifecycle"] false [] false [] "GetBucketLifecycle";
    38 GET_BUCKET_LOCATION "GetBucketLocation" Get Bucket ["location"] false [] false [] "GetBucketLocation";
    39 GET_BUCKET_LOGGING "GetBucketLogging" Get Bucket ["logging"] false [] false [] "GetBucketLogging";
    40 GET_BUCKET_METADATA_CONFIGURATION "GetBucketMetadataConfiguration" Get Bucket ["metadataConfiguration"] false [] false [] "ListObjectsV1";
    41 GET_BUCKET_METADATA_TABLE_CONFIGURATION "GetBucketMetadataTableConfiguration" Get Bucket ["metadataTable"] false [] false [] "ListObjectsV1";
    42 GET_BUCKET_METRICS_CONFIGURATION "GetBucketMetricsConfiguration" Get Bucket ["metrics" "id"] false [] true [] "501:metrics";
    43 GET_BUCKET_NOTIFICATION_CONFIGURATION "GetBucketNotificationConfiguration" Get Bucket ["notification"] false [] false [] "GetBucketNotification";
    44 GET_BUCKET_OWNERSHIP_CONTROLS "GetBucketOwnershipControls" Get Bucket ["ownershipControls"] false [] false [] "501:ownershipControls";
    45 GET_BUCKET_POLICY "GetBucketPolicy" Get Bucket ["policy"] false [] false [] "GetBucketPolicy";
    46 GET_BUCKET_POLICY_STATUS "GetBucketPolicyStatus" Get Bucket ["policyStatus"] false [] false [] "GetBucketPolicyStatus";
    47 GET_BUCKET_REPLICATION "GetBucketReplication" Get Bucket ["replication"] false [] false [] "GetBucketReplicationConfig";
    48 GET_BUCKET_REQUEST_PAYMENT "GetBucketRequestPayment" Get Bucket ["requestPayment"] false [] false [] "GetBucketRequestPayment";
    49 GET_BUCKET_TAGGING "GetBucketTagging" Get Bucket ["tagging"] false [] false [] "GetBucketTagging";
    50 GET_BUCKET_VERSIONING "GetBucketVersioning" Get Bucket ["versioning"] false [] false [] "GetBucketVersioning";
    51 GET_BUCKET_WEBSITE "GetBucketWebsite" Get Bucket ["website"] false [] false [] "GetBucketWebsite";
    52 GET_OBJECT "GetObject" Get Object [] true [] true [Customer] "GetObject";
    53 GET_OBJECT_ACL "GetObjectAcl" Get Object ["acl"] true [] false [] "GetObjectACL";
    54 GET_OBJECT_ANNOTATION "GetObjectAnnotation" Get Object ["annotation" "annotationName"] true [] true [] "GetObject";
    55 GET_OBJECT_ATTRIBUTES "GetObjectAttributes" Get Object ["attributes"] true [] false [Customer] "GetObjectAttributes";
    56 GET_OBJECT_LEGAL_HOLD "GetObjectLegalHold" Get Object ["legal-hold"] true [] false [] "GetObjectLegalHold";
    57 GET_OBJECT_LOCK_CONFIGURATION "GetObjectLockConfiguration" Get Bucket ["object-lock"] false [] false [] "GetBucketObjectLockConfig";
    58 GET_OBJECT_RETENTION "GetObjectRetention" Get Object ["retention"] true [] false [] "GetObjectRetention";
    59 GET_OBJECT_TAGGING "GetObjectTagging" Get Object ["tagging"] true [] false [] "GetObjectTagging";
    60 GET_OBJECT_TORRENT "GetObjectTorrent" Get Object ["torrent"] false [] false [] "501:torrent";
    61 GET_PUBLIC_ACCESS_BLOCK "GetPublicAccessBlock" Get Bucket ["publicAccessBlock"] false [] false [] "501:publicAccessBlock";
    62 HEAD_BUCKET "HeadBucket" Head Bucket [] false [] false [] "HeadBucket";
    63 HEAD_OBJECT "HeadObject" Head Object [] true [] false [Customer] "HeadObject";
    64 LIST_BUCKET_ANALYTICS_CONFIGURATIONS "ListBucketAnalyticsConfigurations" Get Bucket ["analytics"] false [] true [] "501:analytics";
    65 LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS "ListBucketIntelligentTieringConfigurations" Get Bucket ["intelligent-tiering"] false [] true [] "501:intelligent-tiering";
    66 LIST_BUCKET_INVENTORY_CONFIGURATIONS "ListBucketInventoryConfigurations" Get Bucket ["inventory"] false [] true [] "501:inventory";
    67 LIST_BUCKET_METRICS_CONFIGURATIONS "ListBucketMetricsConfigurations" Get Bucket ["metrics"] false [] true [] "501:metrics";
    68 LIST_BUCKETS "ListBuckets" Get Root [] false [] true [] "ListBuckets";
    69 LIST_DIRECTORY_BUCKETS "ListDirectoryBuckets" Get Root [] false [] true [] "ListBuckets";
    70 LIST_MULTIPART_UPLOADS "ListMultipartUploads" Get Bucket ["uploads"] false [] false [] "ListMultipartUploads";
    71 LIST_OBJECT_ANNOTATIONS "ListObjectAnnotations" Get Object ["annotation"] true [] true [] "GetObject";
    72 LIST_OBJECT_VERSIONS "ListObjectVersions" Get Bucket ["versions"] false [] false [] "ListObjectVersions";
    73 LIST_OBJECTS "ListObjects" Get Bucket [] false [] false [] "ListObjectsV1";
    74 LIST_OBJECTS_V2 "ListObjectsV2" Get Bucket ["list-type=2"] false [] false [] "ListObjectsV2";
    75 LIST_PARTS "ListParts" Get Object ["uploadId"] false [] true [Customer] "ListObjectParts";
    76 PUT_BUCKET_ABAC "PutBucketAbac" Put Bucket ["abac"] false [] false [] "PutBucket";
    77 PUT_BUCKET_ACCELERATE_CONFIGURATION "PutBucketAccelerateConfiguration" Put Bucket ["accelerate"] false [] false [] "PutBucket";
    78 PUT_BUCKET_ACL "PutBucketAcl" Put Bucket ["acl"] false [] false [] "PutBucketACL";
    79 PUT_BUCKET_ANALYTICS_CONFIGURATION "PutBucketAnalyticsConfiguration" Put Bucket ["analytics" "id"] false [] false [] "PutBucket";
    80 PUT_BUCKET_CORS "PutBucketCors" Put Bucket ["cors"] false [] false [] "PutBucketCors";
    81 PUT_BUCKET_ENCRYPTION "PutBucketEncryption" Put Bucket ["encryption"] false [] false [] "PutBucketEncryption";
    82 PUT_BUCKET_INTELLIGENT_TIERING_CONFIGURATION "PutBucketIntelligentTieringConfiguration" Put Bucket ["intelligent-tiering" "id"] false [] false [] "PutBucket";
    83 PUT_BUCKET_INVENTORY_CONFIGURATION "PutBucketInventoryConfiguration" Put Bucket ["inventory" "id"] false [] false [] "PutBucket";
    84 PUT_BUCKET_LIFECYCLE_CONFIGURATION "PutBucketLifecycleConfiguration" Put Bucket ["lifecycle"] false [] false [] "PutBucketLifecycle";
    85 PUT_BUCKET_LOGGING "PutBucketLogging" Put Bucket ["logging"] false [] false [] "PutBucket";
    86 PUT_BUCKET_METRICS_CONFIGURATION "PutBucketMetricsConfiguration" Put Bucket ["metrics" "id"] false [] false [] "PutBucket";
    87 PUT_BUCKET_NOTIFICATION_CONFIGURATION "PutBucketNotificationConfiguration" Put Bucket ["notification"] false [] false [] "PutBucketNotification";
    88 PUT_BUCKET_OWNERSHIP_CONTROLS "PutBucketOwnershipControls" Put Bucket ["ownershipControls"] false [] false [] "PutBucket";
    89 PUT_BUCKET_POLICY "PutBucketPolicy" Put Bucket ["policy"] false [] false [] "PutBucketPolicy";
    90 PUT_BUCKET_REPLICATION "PutBucketReplication" Put Bucket ["replication"] false [] false [] "PutBucketReplicationConfig";
    91 PUT_BUCKET_REQUEST_PAYMENT "PutBucketRequestPayment" Put Bucket ["requestPayment"] false [] false [] "PutBucket";
    92 PUT_BUCKET_TAGGING "PutBucketTagging" Put Bucket ["tagging"] false [] false [] "PutBucketTagging";
    93 PUT_BUCKET_VERSIONING "PutBucketVersioning" Put Bucket ["versioning"] false [] false [] "PutBucketVersioning";
    94 PUT_BUCKET_WEBSITE "PutBucketWebsite" Put Bucket ["website"] false [] false [] "PutBucket";
    95 PUT_OBJECT "PutObject" Put Object [] false [] true [BucketKeyEnabled Customer KmsKeyId Algorithm Context] "PutObject";
    96 PUT_OBJECT_ACL "PutObjectAcl" Put Object ["acl"] true [] false [] "PutObjectACL";
    97 PUT_OBJECT_ANNOTATION "PutObjectAnnotation" Put Object ["annotation" "annotationName"] true [] false [] "PutObject";
    98 PUT_OBJECT_LEGAL_HOLD "PutObjectLegalHold" Put Object ["legal-hold"] true [] false [] "PutObjectLegalHold";
    99 PUT_OBJECT_LOCK_CONFIGURATION "PutObjectLockConfiguration" Put Bucket ["object-lock"] false [] false [] "PutBucketObjectLockConfig";
    100 PUT_OBJECT_RETENTION "PutObjectRetention" Put Object ["retention"] true [] false [] "PutObjectRetention";
    101 PUT_OBJECT_TAGGING "PutObjectTagging" Put Object ["tagging"] true [] false [] "PutObjectTagging";
    102 PUT_PUBLIC_ACCESS_BLOCK "PutPublicAccessBlock" Put Bucket ["publicAccessBlock"] false [] false [] "PutBucket";
    103 RENAME_OBJECT "RenameObject" Put Object ["renameObject"] false [] false [] "PutObject";
    104 RESTORE_OBJECT "RestoreObject" Post Object ["restore"] true [] false [] "PostRestoreObject";
    105 SELECT_OBJECT_CONTENT "SelectObjectContent" Post Object ["select" "select-type=2"] false [] false [Customer] "SelectObjectContent";
    106 UPDATE_BUCKET_METADATA_ANNOTATION_TABLE_CONFIGURATION "UpdateBucketMetadataAnnotationTableConfiguration" Put Bucket ["metadataAnnotationTable"] false [] false [] "PutBucket";
    107 UPDATE_BUCKET_METADATA_INVENTORY_TABLE_CONFIGURATION "UpdateBucketMetadataInventoryTableConfiguration" Put Bucket ["metadataInventoryTable"] false [] false [] "PutBucket";
    108 UPDATE_BUCKET_METADATA_JOURNAL_TABLE_CONFIGURATION "UpdateBucketMetadataJournalTableConfiguration" Put Bucket ["metadataJournalTable"] false [] false [] "PutBucket";
    109 UPDATE_OBJECT_ENCRYPTION "UpdateObjectEncryption" Put Object ["encryption"] true [] false [] "PutObject";
    110 UPLOAD_PART "UploadPart" Put Object ["partNumber" "uploadId"] false [] true [Customer] "PutObjectPart";
    111 UPLOAD_PART_COPY "UploadPartCopy" Put Object ["partNumber" "uploadId"] false [XAmzCopySource] true [Customer CopySourceCustomer] "CopyObjectPart";
    112 WRITE_GET_OBJECT_RESPONSE "WriteGetObjectResponse" Post Bucket [] false [XAmzRequestRoute XAmzRequestToken] false [Forwarded] "none";
}
